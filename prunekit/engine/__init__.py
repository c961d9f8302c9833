"""Everything that moves tensors through a model: training, evaluation, scores that need gradients or losses."""
