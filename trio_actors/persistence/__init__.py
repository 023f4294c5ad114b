"""Actors whose state survives: events, snapshots, reminders, entities."""

# General layout; each imports only from those above it:
#
# _errors      what can go wrong between an actor and its journal
# _journal     what every store of events does
# _memory      a journal for tests, with faults
# _group       group commit: many writers, one transaction
# _registered  which classes can be stored, and what is refused
# _forms       how values of one type become bytes, and are compared
# _codec       events, states and answers as bytes, and back
# _rows        what a batch changes, without a database
# _damage      what is set aside, and the side file
# _tables      every statement of SQLite
# _sqlite      a journal in one file
#
# Every public name is exported here, and only here.

from ._errors import Damaged as Damaged, Fenced as Fenced, WriteFailed as WriteFailed
from ._journal import Journal as Journal, Note as Note
from ._memory import MemoryJournal as MemoryJournal
from ._sqlite import SQLiteJournal as SQLiteJournal

__all__ = [
    "Damaged",
    "Fenced",
    "Journal",
    "MemoryJournal",
    "Note",
    "SQLiteJournal",
    "WriteFailed",
]
