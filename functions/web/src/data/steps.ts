/** A job's steps as the four that people follow, and each of them in words. Pure. */
import type { SchemaJob, SchemaJobKind, SchemaStepName } from '../api/openapi.gen';

export type Phase = {
  readonly name: string;
  readonly state: 'done' | 'active' | 'todo' | 'failed';
  /** What is being done right now, or what failed. */
  readonly inner: string | null;
};

export function stepWord(name: SchemaStepName): string {
  switch (name) {
    case 'credit':
      return 'checking the credit';
    case 'cleanup':
      return 'removing what an earlier attempt left';
    case 'database':
      return 'creating its database';
    case 'place':
      return 'choosing a host';
    case 'pull':
      return 'pulling the image';
    case 'create':
      return 'creating the container';
    case 'copy':
      return 'copying its data';
    case 'start':
      return 'starting the container';
    case 'health':
      return 'waiting until it answers';
    case 'restore':
      return 'restoring its state';
    case 'running':
      return 'entering it as running';
    case 'snapshot':
      return 'saving its state';
    case 'stop':
      return 'removing the container';
    case 'volume':
      return 'removing its volume';
    default:
      return name satisfies never;
  }
}

const PHASES: readonly { readonly name: string; readonly steps: readonly SchemaStepName[] }[] = [
  { name: 'Created', steps: ['credit', 'cleanup'] },
  { name: 'Database', steps: ['database'] },
  { name: 'Container', steps: ['place', 'pull', 'create', 'copy', 'start', 'health', 'restore'] },
  { name: 'Running', steps: ['running'] },
];

type Progress = Pick<SchemaJob, 'status' | 'steps'>;

/** The step that the job is at: the last that began, or the next one after the last that ended. */
export function currentStep(job: Progress): SchemaStepName | null {
  return job.steps.at(-1)?.name ?? null;
}

export function phases(job: Progress | null): readonly Phase[] {
  const last = job?.steps.at(-1);
  const at = last ? PHASES.findIndex((phase) => phase.steps.includes(last.name)) : 0;
  return PHASES.map(({ name }, index): Phase => {
    if (!job) return { name, state: index === 0 ? 'done' : 'todo', inner: null };
    if (job.status === 'completed' || index < at) return { name, state: 'done', inner: null };
    if (index > at) return { name, state: 'todo', inner: null };
    const inner = last ? stepWord(last.name) : 'waiting for its turn';
    if (job.status === 'failed') return { name, state: 'failed', inner };
    return { name, state: 'active', inner };
  });
}

export function jobWord(kind: SchemaJobKind): string {
  switch (kind) {
    case 'milady_provision':
      return 'Start';
    case 'milady_restore':
      return 'Restore';
    case 'milady_suspend':
      return 'Stop';
    case 'milady_delete':
      return 'Deletion';
    default:
      return kind satisfies never;
  }
}
