"""From data to model: observations, dynamics, intervals, how good beliefs are."""
