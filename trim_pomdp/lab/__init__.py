"""A lab of tiny models that really generate and really score, on arithmetic with an exact step checker."""
