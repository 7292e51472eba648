"""`rlhf check` of the trainers on the engine: data, weights, one small update, memory and time, before a run."""
