/** What an action on a container will do, said before it is sent, and why it would be refused. Pure. */
import type { SchemaContainerAction } from '../../api/openapi.gen';
import type { ContainerView } from './view';

/** Those that change something. Reading a log or the details needs no question. */
export type Acting = Exclude<SchemaContainerAction, 'logs' | 'inspect'>;

export type Plan = {
  readonly title: string;
  readonly button: string;
  /** What happens, then what is kept. */
  readonly effects: readonly string[];
  readonly danger: boolean;
  /** Must be typed first. */
  readonly typed?: string;
};

const whose = (view: ContainerView): string => {
  if (view.kind !== 'agent') return view.elsewhere ? `its agent lives on ${view.elsewhere}` : 'no agent claims it';
  return view.organization ? `its agent ${view.name} of ${view.organization}` : `its agent ${view.name}`;
};

export function plan(action: Acting, view: ContainerView): Plan {
  const name = view.containerName ?? '';
  const where = `${name} on ${view.nodeId ?? 'its host'}`;
  switch (action) {
    case 'restart':
      return {
        title: `Restart ${where}?`,
        button: 'Restart',
        danger: true,
        effects: [
          `The container is stopped and started again: ${whose(view)} is down for about 10 seconds.`,
          'Its data stay. It is charged as if it had run on.',
        ],
      };
    case 'stop':
      return {
        title: `Stop ${where}?`,
        button: 'Stop',
        danger: true,
        effects: [
          `The container gets 10 seconds to end, then it is killed; ${whose(view)}.`,
          'It is not removed, and its data stay on the host. No backup is made.',
        ],
      };
    case 'start':
      return {
        title: `Start ${where}?`,
        button: 'Start',
        danger: false,
        effects: [
          `The container is started as it is; ${whose(view)} is being charged already.`,
          'Nothing else changes.',
        ],
      };
    case 'pull-image':
      return {
        title: `Pull the image of ${where}?`,
        button: 'Pull the image',
        danger: false,
        effects: [
          `${view.image ?? 'The image of its agent'} is fetched to the host. That can take minutes and room on its disk.`,
          'The container goes on with the image it has, until it is created anew.',
        ],
      };
    case 'remove-ghost':
      return {
        title: `Remove ${where}?`,
        button: 'Remove',
        danger: true,
        typed: name,
        effects: [
          `The container ${(view.dockerId ?? '').slice(0, 12)} is killed and removed for good; ${whose(view)}.`,
          'The host is asked once more before: if a row claims the container by then, it stays. Volumes stay.',
        ],
      };
    default:
      return action satisfies never;
  }
}

const AT_REST = new Set(['stopped', 'pending', 'error']);

/** Why the server would refuse. It decides; this only leaves out what cannot work. */
export function cannot(action: SchemaContainerAction, view: ContainerView): string | null {
  if (view.containerName === null || view.nodeId === null) return 'The row names no container';
  if (view.kind === 'other') return 'Only containers of agents can be acted on';
  const claimed = view.kind === 'agent';
  switch (action) {
    case 'logs':
    case 'inspect':
      return view.present === false ? 'The container is not on its host' : null;
    case 'pull-image':
      return claimed ? null : 'No agent is known for this container';
    case 'restart':
    case 'start':
      if (!claimed) return 'Nobody would pay for it';
      return view.status === 'running' ? null : 'The agent is not charged for running: its owner resumes it instead';
    case 'stop':
      return claimed && !AT_REST.has(view.status ?? '') ? 'The agent would still be charged: suspend it instead' : null;
    case 'remove-ghost':
      return claimed ? 'An agent claims it' : null;
    default:
      return action satisfies never;
  }
}

/** Why nothing would be stopped if an operator suspended the agent. */
export function cannotSuspend(view: ContainerView): string | null {
  switch (view.status) {
    case 'stopped':
      return 'The agent is stopped already';
    case 'unknown':
    case null:
      return 'The status of the agent is not known';
    default:
      return null;
  }
}
