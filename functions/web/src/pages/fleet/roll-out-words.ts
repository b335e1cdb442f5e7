/** The roll-out of a new version of the default image, in words. Pure. */
import type { ImageRollOut } from '../../api/operations';
import { many } from '../../ui/format';
import type { Tone } from '../../ui/status';
import type { RollOutAction } from './operations';

export type LastRollOut = NonNullable<ImageRollOut['rollOut']>;
export type Unchanged = LastRollOut['agents'][number];

/** The first digits, which tell versions apart. */
export const shortDigest = (digest: string): string => digest.replace(/^sha256:/, '').slice(0, 12);

type Shown = { readonly tone: Tone; readonly word: string };

export function rollOutState({ state, pauseReason }: Pick<LastRollOut, 'state' | 'pauseReason'>): Shown {
  switch (state) {
    case 'running':
      return { tone: 'busy', word: 'Under way' };
    case 'paused':
      return pauseReason === null
        ? { tone: 'off', word: 'Paused' }
        : { tone: 'warn', word: `Paused by itself: ${pauseReason}` };
    case 'cancelled':
      return { tone: 'off', word: 'Cancelled' };
    case 'done':
      return { tone: 'ok', word: 'Done' };
    default:
      return { tone: 'unknown', word: 'In a state that this page does not know' };
  }
}

export function rollOutProgress({ restarted, underWay, waiting, failed, skipped }: LastRollOut): string {
  return [
    `${many(restarted, 'agent runs', 'agents run')} the new version`,
    underWay > 0 ? `${underWay} under way` : '',
    waiting > 0 ? `${waiting} to go` : '',
    failed > 0 ? `${failed} failed` : '',
    skipped > 0 ? `${skipped} left as they were` : '',
  ]
    .filter(Boolean)
    .join(', ');
}

/** What an operator can do now. */
export function rollOutActions({ digest, outdated, rollOut }: ImageRollOut): readonly RollOutAction[] {
  if (rollOut !== null && rollOut.doneAt === null) {
    return [rollOut.state === 'paused' ? 'resume' : 'pause', 'cancel'];
  }
  return digest !== null && outdated > 0 ? ['start'] : [];
}

/** What became of an agent that does not run the new version. */
export function unchangedWord({ outcome, underWay }: Pick<Unchanged, 'outcome' | 'underWay'>): Shown {
  if (outcome === 'skipped') return { tone: 'off', word: 'Left as it was' };
  return underWay
    ? { tone: 'busy', word: 'Failed; is being put back' }
    : { tone: 'bad', word: 'Failed; runs its previous version' };
}
