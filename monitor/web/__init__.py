"""The dashboard: what `levmon watch` sees, as pages, as a stream of what has changed, and as a JSON API.

It only shows. Nothing here asks a chain, signs, sends or changes a file: reports come from the watch, the rest through
`Behind`. So that judging many positions never holds up a page, it runs in a thread of its own; the watch hands over.
"""
