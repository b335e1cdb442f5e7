import type { ComponentProps } from 'react';
import { toast } from '../data/toasts';
import css from './button.module.css';
import { Link } from './link';

type Look = {
  readonly look?: 'primary' | 'plain' | 'quiet' | 'danger';
  readonly small?: boolean;
  /** Why it cannot be used, if it cannot. */
  readonly blocked?: string | null | undefined;
};
type Props = ComponentProps<'button'> & Look & { readonly busy?: boolean };

const classes = (look: Look['look'], small: boolean | undefined, extra: string | undefined) =>
  [css.button, css[look ?? 'plain'], small && css.small, extra].filter(Boolean).join(' ');

/**
 * `busy` keeps the focus and the label, says that it works, and ignores further clicks. A blocked button says why: as
 * its description, and when it is clicked, for those who see no description.
 */
export function Button({ look, small, busy, blocked, disabled, className, onClick, type = 'button', ...rest }: Props) {
  const idle = busy || blocked ? true : undefined;
  return (
    <button
      {...rest}
      title={blocked ?? rest.title}
      type={type}
      disabled={!blocked && disabled}
      aria-disabled={idle}
      aria-busy={busy || undefined}
      className={classes(look, small, className)}
      onClick={
        idle
          ? (event) => {
              event.preventDefault();
              if (blocked) toast({ tone: 'off', text: `${blocked}.` });
            }
          : onClick
      }
    />
  );
}

/** A link that is blocked is a button, because a link without an address gets no focus. */
export function ButtonLink({
  look,
  small,
  blocked,
  className,
  ...rest
}: { href: string } & Omit<ComponentProps<'a'>, 'href'> & Look) {
  const all = classes(look, small, className);
  return blocked ? (
    <Button blocked={blocked} className={all}>
      {rest.children}
    </Button>
  ) : (
    <Link {...rest} className={all} />
  );
}

/** A square button with an icon: `label` is its name for everybody. */
export function IconButton({
  label,
  className,
  ...rest
}: Omit<Props, 'aria-label' | 'title'> & { readonly label: string }) {
  return (
    <Button look="quiet" {...rest} aria-label={label} title={label} className={`${css.icon} ${className ?? ''}`} />
  );
}
