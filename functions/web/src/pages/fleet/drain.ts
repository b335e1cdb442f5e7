/** What a drain does, in words. Pure. */
import type { NodeDrain } from '../../api/operations';
import { many } from '../../ui/format';
import type { Tone } from '../../ui/status';

export type Drained = NodeDrain['agents'][number];
type Fate = Drained['fate'];

export const FATES: Readonly<Record<Fate, { readonly tone: Tone; readonly word: string }>> = {
  moving: { tone: 'busy', word: 'Is being moved' },
  moves: { tone: 'off', word: 'Will be moved' },
  waits: { tone: 'unknown', word: 'Cannot be moved now' },
  stays: { tone: 'bad', word: 'Has too much data to be moved' },
  unsaved: { tone: 'bad', word: 'Its only state is here' },
  saved: { tone: 'off', word: 'Stands still; its backup starts elsewhere' },
  empty: { tone: 'off', word: 'Stands still and has no state' },
};

/** What happens to the agents, and what stays behind, in the order of its weight. */
export function drainEffects(agents: readonly Drained[]): readonly string[] {
  const of = (...fates: readonly Fate[]) => agents.filter((agent) => fates.includes(agent.fate)).length;
  const moves = of('moves', 'moving');
  const waits = of('waits');
  const stays = of('stays');
  const unsaved = of('unsaved');
  const saved = of('saved');
  return [
    moves === 0 && stays === 0
      ? 'No agent runs there.'
      : moves === 0
        ? ''
        : `${many(moves, 'agent')} ${moves === 1 ? 'runs' : 'run'} there: each is stopped and started on another host with a copy of its data. It is not charged in between. One whose data cannot be copied within 10 minutes keeps running where it is.`,
    waits > 0
      ? `${many(waits, 'agent')} cannot be moved now, because of a job or because the host cannot be read. The drain waits for ${waits === 1 ? 'it' : 'them'}.`
      : '',
    stays > 0
      ? `${many(stays, 'agent has', 'agents have')} too much data to be copied within 10 minutes. The drain is not done while ${stays === 1 ? 'it runs' : 'they run'} there.`
      : '',
    unsaved > 0
      ? `${many(unsaved, 'stopped agent has', 'stopped agents have')} the only copy of ${unsaved === 1 ? 'its' : 'their'} state there. ${unsaved === 1 ? 'It is' : 'They are'} not touched, and the host cannot be removed before the owners have it saved or delete ${unsaved === 1 ? 'the agent' : 'the agents'}.`
      : '',
    saved > 0
      ? `${many(saved, 'stopped agent stays', 'stopped agents stay')} stopped. The next start restores the newest backup on another host; the volume stays behind.`
      : '',
  ].filter(Boolean);
}

/** How many agents have to leave. */
export const toGo = ({ agents }: Pick<NodeDrain, 'agents'>): number =>
  agents.filter((agent) => ['moves', 'moving', 'waits'].includes(agent.fate)).length;

export function drainProgress({ agents, moved, doneAt }: Pick<NodeDrain, 'agents' | 'moved' | 'doneAt'>): string {
  if (doneAt !== null) return `Empty. ${many(moved, 'agent was', 'agents were')} moved; the host can be removed.`;
  const left = toGo({ agents });
  const failed = agents.filter((agent) => agent.fate === 'moves' && agent.error !== null).length;
  const trouble = failed > 0 ? ` ${many(failed, 'move')} failed and will be tried again.` : '';
  const stays = agents.filter((agent) => agent.fate === 'stays').length;
  const stuck = stays > 0 ? ` ${many(stays, 'agent has', 'agents have')} too much data to be moved.` : '';
  return `${many(moved, 'agent is', 'agents are')} moved, ${left} to go.${trouble}${stuck}`;
}
