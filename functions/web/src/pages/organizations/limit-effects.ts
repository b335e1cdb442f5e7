/** What a change of an organization's limits will do, said before it is sent. Pure. */
import type { SchemaLimitName, SchemaOrganizationLimit } from '../../api/openapi.gen';
import { count } from '../../ui/format';
import { isPerAgent, LIMITS } from '../credits/limit-words';

/** What was typed, of the limits in which something was. */
export type Drafts = Readonly<Partial<Record<SchemaLimitName, string>>>;
/** Null is the default. */
export type Changes = Partial<Record<SchemaLimitName, number | null>>;

/** Null is the default; undefined is no value that the API takes. */
export function valueIn(text: string, { minimum, maximum }: SchemaOrganizationLimit): number | null | undefined {
  const trimmed = text.trim();
  if (trimmed === '') return null;
  if (!/^\d{1,6}$/.test(trimmed)) return undefined;
  const value = Number(trimmed);
  return value >= minimum && value <= maximum ? value : undefined;
}

/** What differs from what is set now; null if something that was typed is no value. */
export function changesOf(limits: readonly SchemaOrganizationLimit[], drafts: Drafts): Changes | null {
  const changes: Changes = {};
  for (const limit of limits) {
    const draft = drafts[limit.limit];
    if (draft === undefined) continue;
    const value = valueIn(draft, limit);
    if (value === undefined) return null;
    if (value !== limit.override) changes[limit.limit] = value;
  }
  return changes;
}

export function effectsOf(name: string, limits: readonly SchemaOrganizationLimit[], changes: Changes): string[] {
  return limits.flatMap((limit) => {
    const value = changes[limit.limit];
    if (value === undefined) return [];
    const next = value ?? limit.default;
    const change =
      next === limit.allowed
        ? `stays ${count(next)}${value === null ? ', the default' : ', also if the default changes'}`
        : `goes from ${count(limit.allowed)} to ${count(next)}${value === null ? ', the default' : ''}`;
    return [`${LIMITS[limit.limit].label}: ${change}.${consequence(name, limit, next)}`];
  });
}

function consequence(name: string, limit: SchemaOrganizationLimit, next: number): string {
  if (next >= limit.allowed) return '';
  if (limit.limit === 'runningStarts') return ' Those that run go on; further ones wait.';
  if (next === 0) return ' None is accepted any more; what there is stays.';
  if (isPerAgent(limit.limit)) return '';
  if (limit.used < next) return '';
  return ` ${name} has ${count(limit.used)}: they stay, and none is added before there are fewer than ${count(next)}.`;
}
