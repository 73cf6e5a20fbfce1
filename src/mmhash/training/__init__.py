"""One loop for every model: batches, schedule, state that survives a kill, the best weights."""
