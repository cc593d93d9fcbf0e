"""Image files: which files count as images, how they are read, and their pixels.

May import errors, drawings and escapes; nothing of data sets or models.
"""
