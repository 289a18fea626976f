#![doc = "(under construction)"]
