"""Training: one loop for all recipes, tasks that say what a batch, a loss and an evaluation are."""
