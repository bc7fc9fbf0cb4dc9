"""Whether everything is as it must be: each invariant as a look at database and store."""
