"""Image files: which files count as images, how they are read, and their pixels.

May import errors, drawings and escapes; nothing from data sets or models.
"""
