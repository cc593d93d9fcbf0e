"""Pictures of trials, promotions and predictions: the only import of matplotlib."""
