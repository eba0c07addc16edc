"""The history: health of every position over time, exact, thinned as it gets older.

Knows SQL and reports, and nothing of chains, actions or the journal. It has a database of its own, so that its size,
its deletes and its locks never delay a commit that a signature waits for; whoever writes it does so in a thread of its
own, and goes on without it where it fails.
"""
