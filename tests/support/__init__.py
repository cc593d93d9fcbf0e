"""What several tests share: models, workers, servers, clocks."""
