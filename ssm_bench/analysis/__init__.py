"""What models do, as tables of numbers: eigenvalues, memory, HiPPO, damping. `ssm_bench.report.analysis` draws them."""
