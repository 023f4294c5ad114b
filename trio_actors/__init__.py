"""An actor is a task with a mailbox; a supervisor is a nursery that can start over."""

# General layout:
#
# Flat private modules; each imports only from those above it in this list.
#
# _errors, _messages      what is raised, and what travels
# _policy                 what a supervisor decides: pure, a table
# _declare, _annotations  from an actor class to its handlers, checked
# _mailbox, _bursts, _box the mailbox: its size, what is stored, who waits for room
# _park, _runtime         how an actor sleeps; the seam to time, timers and test worlds
# _waits, _pending, _ref  who waits for whom; questions on their way; tell and ask
# _behavior               from a user's code to "handle this message"
# _keys, _routing, _topics, _registry, _timers, _guard, _letters
# _turn, _batches, _cell  one message, and many; one actor's life
# _supervisor, _heartbeat one family of actors, started and stopped in order
# _spawner, _context      what a user calls to start actors, and inside of one
# _pools, _snapshot, _watchdog
# _system                 open_actor_system
#
# Every public name is exported here, and only here.

from ._behavior import Actor as Actor
from ._context import Context as Context
from ._declare import handler as handler
from ._errors import (
    ActorError as ActorError,
    ActorFailed as ActorFailed,
    ActorStopped as ActorStopped,
    AskDeadlock as AskDeadlock,
    DeathPact as DeathPact,
    MailboxFull as MailboxFull,
    NameTaken as NameTaken,
    NoReply as NoReply,
    NoSystem as NoSystem,
    RestartLimit as RestartLimit,
    StartFailed as StartFailed,
    UnhandledMessage as UnhandledMessage,
)
from ._inbox import Inbox as Inbox
from ._mailbox import Mailbox as Mailbox
from ._messages import (
    DeadLetter as DeadLetter,
    Event as Event,
    Exit as Exit,
    Request as Request,
    Terminated as Terminated,
    tagged as tagged,
)
from ._open import (
    current_system as current_system,
    open_actor_system as open_actor_system,
)
from ._pending import Pending as Pending, Reply as Reply
from ._policy import (
    Backoff as Backoff,
    Directive as Directive,
    Heartbeat as Heartbeat,
    Supervision as Supervision,
)
from ._pools import PoolRef as PoolRef
from ._ref import ActorRef as ActorRef
from ._registry import ServiceKey as ServiceKey
from ._snapshot import Snapshot as Snapshot
from ._spawner import ChildSpec as ChildSpec
from ._supervisor_ref import SupervisorRef as SupervisorRef
from ._system import ActorSystem as ActorSystem
from ._topics import Subscription as Subscription, Topic as Topic

__all__ = [
    "Actor",
    "ActorError",
    "ActorFailed",
    "ActorRef",
    "ActorStopped",
    "ActorSystem",
    "AskDeadlock",
    "Backoff",
    "ChildSpec",
    "Context",
    "DeadLetter",
    "DeathPact",
    "Directive",
    "Event",
    "Exit",
    "Heartbeat",
    "Inbox",
    "Mailbox",
    "MailboxFull",
    "NameTaken",
    "NoReply",
    "NoSystem",
    "Pending",
    "PoolRef",
    "Reply",
    "Request",
    "RestartLimit",
    "ServiceKey",
    "Snapshot",
    "StartFailed",
    "Subscription",
    "Supervision",
    "SupervisorRef",
    "Terminated",
    "Topic",
    "UnhandledMessage",
    "current_system",
    "handler",
    "open_actor_system",
    "tagged",
]
