import type { ComponentProps } from 'react';
import { navigate } from 'wouter/use-browser-location';

type Props = Omit<ComponentProps<'a'>, 'href'> & { readonly href: string; readonly replace?: boolean };

/** A link within this site. wouter's own listens to the address, and a table has one of these in each row. */
export function Link({ href, replace = false, onClick, ...rest }: Props) {
  return (
    <a
      {...rest}
      href={href}
      onClick={(event) => {
        onClick?.(event);
        const elsewhere = event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey;
        if (event.defaultPrevented || elsewhere || rest.target === '_blank') return;
        event.preventDefault();
        navigate(href, { replace });
      }}
    />
  );
}
