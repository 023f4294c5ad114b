"""How fast trio_actors is, beside plain Trio and its peers: ``nox -s bench``."""
