"""How the columns of a day are described: names, types and JSON paths. Pure data, which all that flattens shares."""
