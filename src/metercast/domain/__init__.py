"""What a task is: its record, states, words and decisions. No I/O and no clock: `now` is an argument."""
