"""Where rows come from: one kind of file (or the catalogue) a module."""
