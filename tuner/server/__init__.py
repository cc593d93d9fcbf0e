"""Pages that this machine serves, and their parts: `draw`, and `watch`, which shows a study.

`guard`, `connections` and `work` bound what visitors can do; `addresses` and `running` serve.
Only the commands may import from here; a page imports what it shows from anywhere below.
"""
