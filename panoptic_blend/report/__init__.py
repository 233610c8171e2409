"""Pages to look at: what a data set holds, in pictures."""
