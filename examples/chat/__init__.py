"""A chat server on actors: one tree, two ways in (a TCP line protocol and a web page).

General layout:

protocol.py   pure: from bytes to lines, from lines to commands, the rules of names
messages.py   what the actors tell each other
settings.py   every number, in one place
rooms.py      a room, and the actor that starts and supervises the rooms
history.py    a room whose lines survive the process
sessions.py   one client: what it types, what it is shown
tree.py       shows the live supervision tree to the web pages
doors.py      what both doors do: give each client a session
tcp.py        the door for ``nc``
web.py        the door for browsers, and page.html, the page
server.py     puts the tree together; __main__.py starts it
limits.py     how many connections the system allows
load.py       measures the server with many real clients; clients.py is one of them
"""
