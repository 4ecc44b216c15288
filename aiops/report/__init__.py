"""`aiops report`: a store as one self-contained HTML page.

`gather` and `signals` ask the store. `episodes`, `bands`, `charts` and `strips` are the pure part: what is
one episode, what is outside its band, paths, and all of it drawn and said. `page` renders, `command` is the
CLI. A chart of any other signal is `strips.draw_strip` of a `bands.Series`.
"""
