"""Pages that this machine serves: `draw`, to draw on, and the parts that any page shares.

`guard`, `connections` and `work` bound what visitors can do; `addresses` and `running` serve.
Only the commands may import from here; a page imports what it shows from anywhere below.
"""
