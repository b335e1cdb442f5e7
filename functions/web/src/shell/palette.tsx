import { useDeferredValue, useState } from 'react';
import { useLocation } from 'wouter';
import { agentRows } from '../data/agents';
import { nameOf } from '../data/announcer';
import { useUser } from '../data/session';
import { pages } from '../pages';
import { Dialog } from '../ui/dialog';
import css from './palette.module.css';

type Target = { readonly id: string; readonly label: string; readonly kind: string; readonly to: string };

const MAX = 12;

/** Words in any order; names that begin with the first word come first. */
export function find(targets: readonly Target[], text: string): readonly Target[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const hits = targets.filter(({ label, id }) => words.every((word) => `${label} ${id}`.toLowerCase().includes(word)));
  const first = words[0] ?? '';
  const rank = (target: Target) => (target.label.toLowerCase().startsWith(first) ? 0 : 1);
  return hits.sort((a, b) => rank(a) - rank(b)).slice(0, MAX);
}

function targets(operator: boolean): Target[] {
  const open = pages.filter((page) => page.rail && (page.who === 'everyone' || operator));
  return [
    ...open.map((page) => ({ id: page.path, label: page.title, kind: 'Page', to: page.path })),
    { id: 'new', label: 'Create an agent', kind: 'Action', to: '/agents/new' },
    ...agentRows().map((agent) => ({ id: agent.id, label: nameOf(agent), kind: 'Agent', to: `/agents/${agent.id}` })),
  ];
}

export default function Palette({ onClose }: { onClose: () => void }) {
  const [text, setText] = useState('');
  const [active, setActive] = useState(0);
  const [, navigate] = useLocation();
  const operator = useUser()?.superAdmin ?? false;
  const hits = find(targets(operator), useDeferredValue(text));
  const go = (target: Target | undefined) => {
    if (!target) return;
    onClose();
    navigate(target.to);
  };
  const onKeyDown = (event: React.KeyboardEvent) => {
    if (event.key === 'ArrowDown') setActive((active + 1) % Math.max(1, hits.length));
    else if (event.key === 'ArrowUp') setActive((active - 1 + hits.length) % Math.max(1, hits.length));
    else if (event.key === 'Enter') go(hits[active]);
    else return;
    event.preventDefault();
  };
  return (
    <Dialog open plain title="Go to a page or an agent" onClose={onClose}>
      <div className={css.palette}>
        <input
          className={css.input}
          role="combobox"
          aria-label="Page, agent or action"
          aria-expanded="true"
          aria-controls="palette-list"
          aria-activedescendant={hits[active] ? `palette-${active}` : undefined}
          aria-autocomplete="list"
          placeholder="Page, agent or action"
          value={text}
          onChange={(event) => {
            setText(event.target.value);
            setActive(0);
          }}
          onKeyDown={onKeyDown}
        />
        <div role="listbox" id="palette-list" aria-label="Results" className={css.list}>
          {hits.map((hit, index) => (
            // biome-ignore lint/a11y/useKeyWithClickEvents: the input above handles the keys
            <div
              key={hit.id}
              id={`palette-${index}`}
              role="option"
              tabIndex={-1}
              aria-selected={index === active}
              className={css.option}
              onPointerMove={() => setActive(index)}
              onClick={() => go(hit)}
            >
              <span className="clip">{hit.label}</span>
              <span className={css.kind}>{hit.kind}</span>
            </div>
          ))}
        </div>
        {hits.length === 0 ? <p className={css.none}>No page, agent or action matches.</p> : null}
      </div>
    </Dialog>
  );
}
