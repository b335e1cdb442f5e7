import { Ellipsis } from 'lucide-react';
import { lazy, type RefObject, Suspense, useRef, useState } from 'react';
import { IconButton } from './button';

export type MenuItem = {
  readonly label: string;
  readonly onSelect?: () => void;
  readonly href?: string;
  readonly newTab?: boolean;
  readonly danger?: boolean;
  readonly disabled?: boolean;
  /** Why it is disabled, or what it does. */
  readonly hint?: string;
};

export type MenuImplProps = {
  readonly open: boolean;
  readonly onClose: () => void;
  readonly anchor: RefObject<HTMLButtonElement | null>;
  readonly label: string;
  /** Null is a line between groups. */
  readonly items: readonly (MenuItem | null)[];
};

export const loadMenu = () => import('./overlays/menu');
const Impl = lazy(loadMenu);

type Props = {
  readonly label: string;
  readonly items: () => readonly (MenuItem | null)[];
  readonly icon?: React.ReactNode;
  readonly small?: boolean;
};

/** A button that opens a menu. The items are made when it opens, so that a table of rows makes none. */
export function Menu({ label, items, icon, small }: Props) {
  const [open, setOpen] = useState(false);
  const [used, setUsed] = useState(false);
  const anchor = useRef<HTMLButtonElement>(null);
  const closedAt = useRef(0);
  return (
    <>
      <IconButton
        ref={anchor}
        label={label}
        small={small ?? false}
        aria-haspopup="menu"
        aria-expanded={open}
        onPointerEnter={() => void loadMenu()}
        onClick={() => {
          // The click that closes the menu from outside arrives here, too, when it hits the button.
          if (performance.now() - closedAt.current < 200) return;
          setUsed(true);
          setOpen(true);
        }}
      >
        {icon ?? <Ellipsis size={16} aria-hidden="true" />}
      </IconButton>
      {used ? (
        <Suspense fallback={null}>
          <Impl
            open={open}
            anchor={anchor}
            label={label}
            items={open ? items() : []}
            onClose={() => {
              closedAt.current = performance.now();
              setOpen(false);
            }}
          />
        </Suspense>
      ) : null}
    </>
  );
}
