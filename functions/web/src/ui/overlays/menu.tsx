import { CSPProvider } from '@base-ui/react/csp-provider';
import { Menu } from '@base-ui/react/menu';
import { Link } from '../link';
import type { MenuImplProps } from '../menu';
import css from './menu.module.css';

/** Not imported directly: ui/menu.tsx loads it when a menu opens for the first time. */
export default function MenuImpl({ open, onClose, anchor, items, label }: MenuImplProps) {
  return (
    <CSPProvider disableStyleElements>
      <Menu.Root open={open} onOpenChange={(next) => (next ? undefined : onClose())}>
        <Menu.Portal>
          <Menu.Positioner anchor={anchor} align="end" sideOffset={4} className={css.place}>
            <Menu.Popup className={css.menu} aria-label={label} finalFocus={anchor}>
              {items.map((item, index) =>
                item === null ? (
                  // biome-ignore lint/suspicious/noArrayIndexKey: a line has nothing else, and items do not move
                  <Menu.Separator key={index} className={css.line} />
                ) : (
                  <Menu.Item
                    key={item.label}
                    className={css.item}
                    data-danger={item.danger || undefined}
                    disabled={item.disabled ?? false}
                    onClick={item.onSelect}
                    {...(item.href
                      ? { render: <Link href={item.href} target={item.newTab ? '_blank' : undefined} rel="noopener" /> }
                      : {})}
                  >
                    {item.label}
                    {item.hint ? <span className={css.hint}>{item.hint}</span> : null}
                  </Menu.Item>
                ),
              )}
            </Menu.Popup>
          </Menu.Positioner>
        </Menu.Portal>
      </Menu.Root>
    </CSPProvider>
  );
}
