"""The outcomes of a day: which NPIs are asked for, asking, and whether the answers are to be believed."""
