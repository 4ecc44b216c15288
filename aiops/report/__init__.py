"""`aiops report`: a store as one self-contained HTML page.

`gather` asks the store, `episodes` and `charts` are the pure part, `page` renders, `command` is the CLI.
"""
