"""Go as KataGo sees it: rules, game records, network inputs of positions, and self-play rows."""
