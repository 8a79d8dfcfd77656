# One rule per DVC stage, created while this file is parsed: dvc.yaml is the only DAG.
#
# DVC decides which stages are stale and caches results; Snakemake runs stages in parallel, here or
# on the nodes of a cluster. docs/engines.md explains how and why the two are combined.
import sys

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(workflow.current_basedir.join("workflow")))
import engine_patches
import stages

shell.prefix(stages.activate())
engine_patches.keep_outputs()

try:
    if workflow.is_main_process:
        import cluster

        STAGES = stages.read(config)
        cluster.join(STAGES)
    else:
        STAGES = stages.recall()
except stages.PipelineError as error:
    raise WorkflowError(str(error)) from None


onerror:
    print(stages.failures(), file=sys.stderr)


rule all:
    default_target: True
    input:
        "results/report.html",
    localrule: True


# Samples and cloths of all models, without metrics. `results/report.html` continues from there.
rule pictures:
    input:
        [
            path
            for stage in STAGES
            if stage.kind in ("sample", "weave")
            for path in stage.files + stage.directories
        ],
    localrule: True


for stage in STAGES:

    # Everything that differs between stages is evaluated here, when the rule is created: a function
    # or string that is evaluated later would see the last stage of the loop.
    rule:
        name:
            stage.rule
        input:
            stage.inputs if stage.stale else ancient(stage.inputs),
            stamp=stage.stamp,
        output:
            stage.files,
            [directory(path) for path in stage.directories],
        log:
            stage.log,
        priority: stage.priority
        localrule: stage.local
        conda:
            "workflow/environment.yaml"
        threads: stage.threads
        params:
            stage=stage.name,
            flag=(
                "--without-dvc"
                if workflow.remote_exec
                else "--force" if stage.force else ""
            ),
        shell:
            "exec python workflow/job.py {params.stage:q} {log:q} {params.flag}"

    engine_patches.set_resources(workflow, stage.rule, stage.kind)
