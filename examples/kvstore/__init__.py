"""A key-value store whose content survives: a router, a store, and a writer.

    async with kvstore.open_kvstore(directory):
        await kvstore.set("hello", "world")  # from anywhere, without passing refs

General layout:

files.py      the file: its form, its checksum, its lock; how it is replaced
messages.py   what the actors tell each other
writer.py     the only one that has the file
store.py      the store, which has a writer, and the router, which has the store
journal.py    the store once more, on a journal instead of a file
api.py        what a program calls
__main__.py   the command: python -m examples.kvstore
"""

from .api import (
    delete as delete,
    get as get,
    open_kvstore as open_kvstore,
    reset as reset,
    set as set,
    writer_since as writer_since,
)
from .files import NotStored as NotStored, Unusable as Unusable
