"""Actors whose state survives: events, snapshots, reminders, entities."""

# General layout; each imports only from those above it:
#
# _errors      what can go wrong between an actor and its journal
# _journal     what every store of events does
# _registered  which classes can be stored, and what is refused
# _forms       how values of one type become bytes, and are compared
# _rejections  declared rejections as bytes, and back
# _codec       events, states and answers as bytes, and back
# _memory      a journal for tests, with faults
# _jobs        what a store is to do, and how tasks wait for it
# _group       group commit: many writers, one transaction
# _rows        what a batch changes, without a database
# _damage      what is set aside, and the side file
# _tables      the tables of SQLite, and what is written to them
# _reading     what is read from them
# _sqlite      a journal in one file
# _postgres_rows
#              every statement of PostgreSQL, and what is in its rows
# _postgres    a journal in a PostgreSQL database
# _store       one stream, as its writer
# _plan        from a durable class to what it stores
# _reminders, _commands, _outbox
#              what is kept beside the events
# _transaction a command in hand
# _durable     what all durable actors do
# _sourced, _whole
#              actors that store events, or their whole state
# _entities    actors that are found by key
#
# Every public name is exported here, and only here.

from ._entities import Entities as Entities
from ._errors import Damaged as Damaged, Fenced as Fenced, WriteFailed as WriteFailed
from ._journal import Journal as Journal, Note as Note
from ._memory import MemoryJournal as MemoryJournal
from ._plan import applies as applies
from ._postgres import PostgresJournal as PostgresJournal
from ._reminders import Reminder as Reminder
from ._sourced import EventSourced as EventSourced
from ._sqlite import SQLiteJournal as SQLiteJournal
from ._whole import DurableState as DurableState

__all__ = [
    "Damaged",
    "DurableState",
    "Entities",
    "EventSourced",
    "Fenced",
    "Journal",
    "MemoryJournal",
    "Note",
    "PostgresJournal",
    "Reminder",
    "SQLiteJournal",
    "WriteFailed",
    "applies",
]
