"""A store of a year of a team, made up from a seed, and the calls that have to stay fast in it."""
