"""The terminal view: what watch sees as a table that is sorted and filtered, with one position explained beside it.

Only shows. A command gives it ticks and a way to read the journal; it opens nothing itself. Colour never says anything
that no word says too.
"""
