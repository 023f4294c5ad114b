"""Ipseity: identity numbers from replicas that keep in step.

General layout:

events.py     what is sent: the types of events and their names, and the questions
replica.py    one replica: counts, and follows the others
__main__.py   three replicas in one process, and what they do

What is promised. A replica never hands out a number twice, and each of its numbers is
greater than those before it, also over a crash: the counter is taken over. The replicas
follow each other, eventually.

What is not. Between two syncs two replicas may hand out the same number: a plain number
is unique per replica only. Where it must be unique among all, take one of these:

* ``NextIdentity()`` is answered with ``Identity(pid, seq)``, unique as long as no two
  replicas have the same *pid*;
* ``Replica(every, pid, stride)`` hands out only numbers that leave the remainder *pid*
  when divided by *stride*, unique as long as each replica has a *pid* below it.

The counter is in memory. A replica that is started again as a new actor begins at 0
and learns from the others at their next sync: give it a new *pid*, or a state that
survives.
"""
