"""Children that end: one exit, ends by hand, sweeps, and the window."""

from tests.otp.table import (
    RESTARTS,
    STRATEGIES,
    Child,
    Differs,
    Family,
    Log,
    Restart,
    Scenario,
    Step,
    Strategy,
    kids,
)

# --- One exit: every strategy, restart type and way to end --------------------

ONE_EXIT = [
    Scenario(
        f"{strategy}: a {restart} child that ends by {how}",
        Family((Child("a"), Child("b", restart), Child("c")), strategy),
        [["exit", "b", how], ["which", "top"]],
    )
    for strategy in STRATEGIES
    for restart in RESTARTS
    for how in ("normal", "shutdown", "failed")
]

# --- Ended by hand ------------------------------------------------------------

FINAL = (
    "ref.stop/drain/kill, terminate_child: ends, spec kept. Like drain() and kill() "
    "it is final: no restart type starts the actor again."
)


def by_hand(
    verb: str, restart: Restart, strategy: Strategy, differs: Differs | None
) -> Scenario:
    return Scenario(
        f"{strategy}: {verb} of a {restart} child by somebody else",
        Family((Child("a"), Child("b", restart), Child("c")), strategy),
        [[verb, "b"], ["which", "top"]],
        differs,
    )


def stays_down(kind: str) -> Differs:
    shown = [["a", "running"], ["b", "not_running"], ["c", "running"]]
    return Differs(
        FINAL, {1: [["stop", "b", kind]], 2: [["which", "top", shown]], 3: LEFT}
    )


LEFT: Log = [
    ["stop", "c", "shutdown"],
    ["stop", "a", "shutdown"],
    ["stop", "top", "shutdown"],
]

BY_HAND = [
    by_hand("stop", "permanent", "one_for_one", stays_down("shutdown")),
    by_hand("stop", "transient", "one_for_one", None),
    by_hand("stop", "temporary", "one_for_one", None),
    by_hand("kill", "permanent", "one_for_one", stays_down("killed")),
    by_hand("kill", "transient", "one_for_one", stays_down("killed")),
    by_hand("kill", "temporary", "one_for_one", None),
    by_hand("kill", "permanent", "one_for_all", stays_down("killed")),
    by_hand("kill", "temporary", "one_for_all", None),
    by_hand("kill", "permanent", "rest_for_one", stays_down("killed")),
]

# --- Sweeps over siblings of all kinds ----------------------------------------

MIXED = (
    Child("a"),
    Child("b", "transient"),
    Child("c", "temporary"),
    Child("d", "transient"),
    Child("e"),
)

SWEEPS = [
    Scenario(
        "one_for_all: a temporary sibling is swept and forgotten",
        Family(MIXED, "one_for_all"),
        [["exit", "e", "failed"], ["which", "top"], ["count", "top"]],
    ),
    Scenario(
        "one_for_all: a transient that had ended normally is started again",
        Family(MIXED, "one_for_all"),
        [["exit", "b", "normal"], ["which", "top"], ["exit", "a", "failed"]],
    ),
    Scenario(
        "one_for_all: a child that was terminated by hand is started again",
        Family(MIXED, "one_for_all"),
        [["terminate", "d"], ["exit", "a", "failed"], ["which", "top"]],
    ),
    Scenario(
        "one_for_all: the failure of a temporary child sweeps nobody",
        Family(MIXED, "one_for_all"),
        [["exit", "c", "failed"], ["which", "top"]],
    ),
    Scenario(
        "rest_for_one: those before the failed child are left alone",
        Family(MIXED, "rest_for_one"),
        [["exit", "b", "failed"], ["which", "top"]],
    ),
    Scenario(
        "rest_for_one: a transient after it that had ended is started again",
        Family(MIXED, "rest_for_one"),
        [["exit", "d", "normal"], ["exit", "b", "failed"], ["which", "top"]],
    ),
    Scenario(
        "rest_for_one: a transient before it that had ended stays ended",
        Family(MIXED, "rest_for_one"),
        [["exit", "b", "normal"], ["exit", "d", "failed"], ["which", "top"]],
    ),
    Scenario(
        "rest_for_one: the last child sweeps itself only",
        Family(MIXED, "rest_for_one"),
        [["exit", "e", "failed"], ["which", "top"]],
    ),
    Scenario(
        "one_for_one: two that fail together are both restarted",
        Family(kids("abc")),
        [["together", ["exit", "a", "failed"], ["exit", "c", "failed"]]],
    ),
    Scenario(
        "one_for_all: two that fail together cost one restart",
        Family(kids("abc"), "one_for_all", intensity=1),
        [["together", ["exit", "a", "failed"], ["exit", "c", "failed"]]],
    ),
    Scenario(
        "rest_for_one: two that fail together, the earlier first, cost one restart",
        Family(kids("abc"), "rest_for_one", intensity=1),
        [["together", ["exit", "a", "failed"], ["exit", "c", "failed"]]],
    ),
    Scenario(
        "rest_for_one: two that fail together, the later first, cost two",
        Family(kids("abc"), "rest_for_one", intensity=1),
        [["together", ["exit", "c", "failed"], ["exit", "a", "failed"]]],
    ),
    Scenario(
        "one_for_all: two that fail together, and the restart of one of them fails",
        Family(
            (Child("a"), Child("b", fails=(2,)), Child("c")), "one_for_all", intensity=2
        ),
        [["together", ["exit", "c", "failed"], ["exit", "b", "failed"]]],
    ),
    Scenario(
        "rest_for_one: two that fail together, and the restart of the first fails",
        Family((Child("a", fails=(2,)), Child("b")), "rest_for_one", intensity=2),
        [["together", ["exit", "a", "failed"], ["exit", "b", "failed"]]],
    ),
    Scenario(
        "rest_for_one: three that fail together, the middle one first",
        Family(
            (
                Child("a"),
                Child("b", fails=(2, 3)),
                Child("c", fails=(2,)),
                Child("d"),
            ),
            "rest_for_one",
            intensity=5,
        ),
        [
            [
                "together",
                ["exit", "c", "failed"],
                ["exit", "d", "normal"],
                ["exit", "b", "failed"],
            ],
            ["which", "top"],
        ],
    ),
    Scenario(
        "one_for_all: one that hangs in a sweep is killed and started again",
        Family(
            (Child("a"), Child("b", at_stop="hangs", shutdown=0.5), Child("c")),
            "one_for_all",
        ),
        [["timed", ["exit", "a", "failed"]], ["which", "top"]],
    ),
    Scenario(
        "one_for_all: one that fails while it is swept is started again",
        Family((Child("a"), Child("b", at_stop="fails"), Child("c")), "one_for_all"),
        [["exit", "a", "failed"], ["which", "top"]],
    ),
]

# --- The window ---------------------------------------------------------------

TWICE: list[Step] = [["exit", "b", "failed"], ["exit", "b", "failed"]]

WINDOW = [
    Scenario(
        "window: with intensity 0 the first failure gives up",
        Family(kids("abc"), intensity=0),
        [["exit", "b", "failed"]],
    ),
    Scenario(
        "window: with intensity 1 the second failure gives up",
        Family(kids("abc"), intensity=1),
        TWICE,
    ),
    Scenario(
        "window: with intensity 3 the fourth failure gives up",
        Family(kids("abc")),
        TWICE + TWICE,
    ),
    Scenario(
        "window: failures further apart than the period never give up",
        Family(kids("abc"), intensity=1, period=1),
        [
            ["exit", "b", "failed"],
            ["sleep", 2.5],
            ["exit", "b", "failed"],
            ["sleep", 2.5],
            ["exit", "a", "failed"],
            ["which", "top"],
        ],
    ),
    Scenario(
        "window: only what is inside of the period counts",
        Family(kids("abc"), intensity=1, period=1),
        [["exit", "b", "failed"], ["sleep", 2.5], *TWICE],
    ),
    Scenario(
        "window: it belongs to the supervisor, not to the child",
        Family(kids("abc"), intensity=2),
        [["exit", "a", "failed"], ["exit", "b", "failed"], ["exit", "c", "failed"]],
    ),
    Scenario(
        "window: a normal end of a permanent child counts",
        Family(kids("abc"), intensity=1),
        [["exit", "a", "normal"], ["exit", "b", "shutdown"]],
    ),
    Scenario(
        "window: a normal end of a transient child does not count",
        Family((*kids("ab", "transient"), Child("c")), intensity=0),
        [["exit", "a", "normal"], ["exit", "b", "shutdown"], ["which", "top"]],
    ),
    Scenario(
        "window: a failure of a temporary child does not count",
        Family((*kids("ab", "temporary"), Child("c")), intensity=0),
        [["exit", "a", "failed"], ["exit", "b", "failed"], ["which", "top"]],
    ),
    Scenario(
        "window: a sweep counts once",
        Family(kids("abc"), "one_for_all", intensity=2),
        [["exit", "b", "failed"], ["exit", "c", "failed"], ["exit", "a", "failed"]],
    ),
    Scenario(
        "window: a sweep over the rest counts once",
        Family(kids("abc"), "rest_for_one", intensity=2),
        [["exit", "a", "failed"], ["exit", "b", "failed"], ["exit", "a", "failed"]],
    ),
    Scenario(
        "window: terminate and restart by hand do not count",
        Family(kids("abc"), intensity=0),
        [["terminate", "b"], ["restart", "b"], ["terminate", "b"], ["restart", "b"]],
    ),
    Scenario(
        "window: giving up stops those that run, in reverse",
        Family((Child("a"), Child("b", "transient"), *kids("cd")), intensity=0),
        [["exit", "b", "normal"], ["terminate", "c"], ["exit", "a", "failed"]],
    ),
]
