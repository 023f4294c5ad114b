"""Starts that fail, and children by name."""

from tests.otp.table import STRATEGIES, Child, Family, Scenario, kids

# --- Starts that fail ---------------------------------------------------------

FAILING = [
    *(
        Scenario(
            f"{strategy}: child {name} fails to start at first",
            Family(
                tuple(Child(one, fails=(1,) if one == name else ()) for one in "abc"),
                strategy,
            ),
            [],
        )
        for strategy in STRATEGIES
        for name in "abc"
    ),
    Scenario(
        "one_for_one: a temporary child fails to start at first",
        Family((Child("a"), Child("b", "temporary", fails=(1,)), Child("c"))),
        [],
    ),
    Scenario(
        "one_for_one: failed restarts are tried again until one works",
        Family((Child("a"), Child("b", fails=(2, 3)), Child("c"))),
        [["exit", "b", "failed"], ["which", "top"], ["exit", "a", "failed"]],
    ),
    Scenario(
        "one_for_one: each failed restart counts",
        Family((Child("a"), Child("b", fails=(2, 3)), Child("c")), intensity=2),
        [["exit", "b", "failed"]],
    ),
    Scenario(
        "one_for_one: a transient child whose restart fails is tried again",
        Family((Child("a"), Child("b", "transient", fails=(2,)), Child("c"))),
        [["exit", "b", "failed"], ["which", "top"]],
    ),
    Scenario(
        "one_for_all: a failed start in the sweep begins it again",
        Family((Child("a"), Child("b", fails=(2,)), Child("c")), "one_for_all"),
        [["exit", "c", "failed"], ["which", "top"]],
    ),
    Scenario(
        "one_for_all: the failed start of the last one stops all the others again",
        Family((Child("a"), Child("b"), Child("c", fails=(2, 3))), "one_for_all"),
        [["exit", "a", "failed"], ["which", "top"]],
    ),
    Scenario(
        "one_for_all: failed starts in the sweep give up in the end",
        Family(
            (Child("a"), Child("b", fails=(2, 3)), Child("c")),
            "one_for_all",
            intensity=2,
        ),
        [["exit", "b", "failed"]],
    ),
    Scenario(
        "one_for_all: a sibling whose start fails once and the offender again",
        Family(
            (Child("a", fails=(2,)), Child("b"), Child("c", fails=(2,))),
            "one_for_all",
        ),
        [["exit", "b", "failed"], ["which", "top"]],
    ),
    Scenario(
        "rest_for_one: the restart of the offender fails, those before it stay",
        Family((Child("a"), Child("b", fails=(2,)), Child("c")), "rest_for_one"),
        [["exit", "b", "failed"], ["which", "top"]],
    ),
    Scenario(
        "rest_for_one: the retry leaves the good ones before it alone",
        Family((Child("a"), Child("b"), Child("c", fails=(2, 3))), "rest_for_one"),
        [["exit", "a", "failed"], ["which", "top"]],
    ),
    Scenario(
        "rest_for_one: failed starts of a later one give up in the end",
        Family(
            (Child("a"), Child("b"), Child("c", fails=(2, 3))),
            "rest_for_one",
            intensity=2,
        ),
        [["exit", "a", "failed"]],
    ),
    Scenario(
        "rest_for_one: a swept transient whose start fails is tried again",
        Family(
            (Child("a"), Child("b", "transient", fails=(2,)), Child("c")),
            "rest_for_one",
        ),
        [["exit", "a", "failed"], ["which", "top"]],
    ),
]

# --- Children by name ---------------------------------------------------------

BY_NAME = [
    Scenario(
        "start_child: the new child is the last, and stops first",
        Family(kids("ab")),
        [["start", Child("c")], ["which", "top"], ["count", "top"]],
    ),
    Scenario(
        "start_child: the name of a running child is taken",
        Family(kids("ab")),
        [["start", Child("a")], ["which", "top"]],
    ),
    Scenario(
        "start_child: the name of a stopped child is taken",
        Family(kids("ab")),
        [["terminate", "a"], ["start", Child("a")], ["which", "top"]],
    ),
    Scenario(
        "start_child: a failed start forgets the spec",
        Family(kids("ab")),
        [
            ["start", Child("c", fails=(1,))],
            ["which", "top"],
            ["start", Child("c")],
            ["which", "top"],
        ],
    ),
    Scenario(
        "start_child: a new child is swept like the others",
        Family(kids("ab"), "rest_for_one"),
        [["start", Child("c", "transient")], ["exit", "b", "failed"]],
    ),
    Scenario(
        "terminate_child: the spec is kept",
        Family(kids("abc")),
        [["terminate", "b"], ["which", "top"], ["count", "top"]],
    ),
    Scenario(
        "terminate_child: nobody else is swept",
        Family(kids("abc"), "one_for_all"),
        [["terminate", "a"], ["which", "top"]],
    ),
    Scenario(
        "terminate_child: a second time it does nothing",
        Family(kids("abc")),
        [["terminate", "b"], ["terminate", "b"], ["which", "top"]],
    ),
    Scenario(
        "terminate_child: a temporary child is forgotten",
        Family((Child("a"), Child("b", "temporary"))),
        [["terminate", "b"], ["which", "top"], ["terminate", "b"]],
    ),
    Scenario(
        "terminate_child: an unknown name is not found",
        Family(kids("a")),
        [["terminate", "z"]],
    ),
    Scenario(
        "terminate_child: a child that hangs is killed",
        Family((Child("a"), Child("b", at_stop="hangs", shutdown=0.5))),
        [["timed", ["terminate", "b"]], ["which", "top"]],
    ),
    Scenario(
        "terminate_child: a child that fails as it stops has ended",
        Family((Child("a"), Child("b", at_stop="fails"))),
        [["terminate", "b"], ["which", "top"]],
    ),
    Scenario(
        "restart_child: it takes its old place in the order",
        Family(kids("abc")),
        [["terminate", "b"], ["restart", "b"], ["which", "top"]],
    ),
    Scenario(
        "restart_child: a transient that ended normally runs again",
        Family((Child("a"), Child("b", "transient"))),
        [["exit", "b", "normal"], ["restart", "b"], ["which", "top"]],
    ),
    Scenario(
        "restart_child: a running child is running",
        Family(kids("ab")),
        [["restart", "a"]],
    ),
    Scenario(
        "restart_child: an unknown name is not found",
        Family(kids("ab")),
        [["restart", "z"]],
    ),
    Scenario(
        "restart_child: a temporary child that ended is not found",
        Family((Child("a"), Child("b", "temporary"))),
        [["exit", "b", "failed"], ["restart", "b"]],
    ),
    Scenario(
        "restart_child: a failed start keeps the spec and is not tried again",
        Family((Child("a"), Child("b", fails=(2,)))),
        [["terminate", "b"], ["restart", "b"], ["which", "top"], ["restart", "b"]],
    ),
    Scenario(
        "delete_child: a stopped child is forgotten",
        Family(kids("abc")),
        [["terminate", "b"], ["delete", "b"], ["which", "top"], ["count", "top"]],
    ),
    Scenario(
        "delete_child: a transient that ended normally is forgotten",
        Family((Child("a"), Child("b", "transient"))),
        [["exit", "b", "normal"], ["delete", "b"], ["which", "top"]],
    ),
    Scenario(
        "delete_child: a running child is running",
        Family(kids("ab")),
        [["delete", "a"], ["which", "top"]],
    ),
    Scenario(
        "delete_child: an unknown name is not found",
        Family(kids("ab")),
        [["delete", "z"]],
    ),
    Scenario(
        "delete_child: the name is free again, and its place is the last",
        Family(kids("abc")),
        [["terminate", "a"], ["delete", "a"], ["start", Child("a")], ["which", "top"]],
    ),
]
