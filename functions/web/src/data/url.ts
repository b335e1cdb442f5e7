import { useCallback, useMemo } from 'react';
import { useSearchParams } from 'wouter';

/**
 * Filters, order and tabs live in the address, so that a reload and a link keep them. Values that equal the default are
 * left out. `defaults` must keep its identity between renders.
 */
export function useUrlState<T extends Record<string, string>>(defaults: T): [T, (change: Partial<T>) => void] {
  const [params, setParams] = useSearchParams();
  const values = useMemo(
    () => Object.fromEntries(Object.entries(defaults).map(([name, value]) => [name, params.get(name) ?? value])) as T,
    [params, defaults],
  );
  const change = useCallback(
    (changed: Partial<T>) =>
      setParams(
        (old) => {
          const next = new URLSearchParams(old);
          for (const [name, value] of Object.entries(changed)) {
            if (value === undefined || value === defaults[name]) next.delete(name);
            else next.set(name, value);
          }
          return next;
        },
        { replace: true },
      ),
    [setParams, defaults],
  );
  return [values, change];
}
