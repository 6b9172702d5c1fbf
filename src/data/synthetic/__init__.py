"""Generated data sets: reviews, questions, topics, ratings and sentences with entities."""
