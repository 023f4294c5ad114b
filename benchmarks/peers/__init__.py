"""The same workloads in other systems; one that is missing is a row that says so."""
