const MOST = 60;

/** "a.b[0]" and its value as text, for every leaf of a JSON value; at most 60 of them. */
export function flattened(value: unknown, name = ''): readonly (readonly [string, string])[] {
  if (Array.isArray(value)) {
    if (value.length === 0) return name ? [[name, 'none']] : [];
    if (value.every((one) => typeof one !== 'object' || one === null))
      return [[name || 'values', value.map(text).join(', ')]];
    return value.flatMap((one, index) => flattened(one, `${name}[${index}]`)).slice(0, MOST);
  }
  if (typeof value === 'object' && value !== null)
    return Object.entries(value)
      .flatMap(([key, one]) => flattened(one, name ? `${name}.${key}` : key))
      .slice(0, MOST);
  return name ? [[name, text(value)]] : [];
}

function text(value: unknown): string {
  if (value === null || value === undefined) return 'none';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  return String(value) === '' ? '(empty)' : String(value);
}
