"""A store of a year of a team, and how fast everything in it is: made, asked as the pages ask, imported again."""
