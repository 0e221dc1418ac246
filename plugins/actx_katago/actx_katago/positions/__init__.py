"""Go positions as samples: self-play rows and SGF games."""
